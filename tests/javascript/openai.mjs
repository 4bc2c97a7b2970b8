// Calls OpenAI with its own client and says what came back.
//
//     node openai.mjs BASE_URL
//
// Leaves one line of JSON: {"chat": ..., "stream": [...], ...}, all that the client made of it.

import { File } from "node:buffer";
import OpenAI, { toFile } from "openai";

globalThis.File ??= File; // Node 18 has it only there

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "sk-test", maxRetries: 0 });
const model = "gpt-4o-mini";
const messages = [{ role: "user", content: "Repeat after me: Grüße 😀" }];
const weather = [{ role: "user", content: "What is the weather in Paris and in London?" }];
const parameters = { type: "object", properties: { city: { type: "string" } } };
const tools = [{ type: "function", function: { name: "get_weather", parameters } }];

async function all(stream) {
  const items = [];
  for await (const item of await stream) items.push(item);
  return items;
}

async function error(promise) {
  try {
    await promise;
  } catch (thrown) {
    const { status, message, code, requestID } = thrown;
    return { kind: thrown.constructor.name, status, message, code, requestID };
  }
}

const chat = await client.chat.completions.create({ model, messages }).withResponse();
const results = {
  chat: chat.data,
  requestId: chat.request_id,
  stream: await all(client.chat.completions.create({ model, messages, stream: true })),
  toolsStream: await client.chat.completions
    .stream({ model, messages: weather, tools })
    .finalChatCompletion(),
  responses: await client.responses.create({ model, input: "Repeat after me: one" }),
  responsesStream: await all(client.responses.create({ model, input: messages, stream: true })),
  embeddings: await client.embeddings.create({ model: "text-embedding-3-small", input: ["a", "b"] }),
  image: await client.images.generate({ model: "gpt-image-1", prompt: "a parcel", quality: "low" }),
  upload: await client.files.create({
    file: await toFile(Buffer.alloc(100_000, '{"messages": []}\n'), "t.jsonl"),
    purpose: "fine-tune",
  }),
  models: await all(client.models.list()),
  wrongModel: await error(client.chat.completions.create({ model: "no-such-model", messages })),
  wrongKey: await error(client.withOptions({ apiKey: "invalid" }).models.list()),
};
console.log(JSON.stringify(results));
