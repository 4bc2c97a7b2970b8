// Calls OpenAI with Vercel's AI SDK and says what came back.
//
//     node ai_sdk.mjs BASE_URL
//
// Leaves one line of JSON: {"text": ..., "stream": [...], ...}.

import { createOpenAI } from "@ai-sdk/openai";
import { embedMany, generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";

const openai = createOpenAI({ baseURL: process.argv[2], apiKey: "sk-test" });
const prompt = "Repeat after me: Grüße 😀";
const schema = jsonSchema({
  type: "object",
  properties: { answer: { type: "string" } },
  required: ["answer"],
  additionalProperties: false,
});
const tools = {
  get_weather: tool({
    description: "finds the weather",
    inputSchema: jsonSchema({ type: "object", properties: { city: { type: "string" } } }),
    execute: async ({ city }) => `4 degrees in ${city}`,
  }),
};

const shown = ({ text, finishReason, usage, toolCalls, toolResults }) => ({
  text,
  finishReason,
  usage,
  toolCalls,
  toolResults,
});

async function streamed(model) {
  const result = streamText({ model, prompt, maxRetries: 0 });
  const parts = [];
  for await (const part of result.textStream) parts.push(part);
  return { parts, usage: await result.usage };
}

async function error(promise) {
  try {
    await promise;
  } catch ({ name, message, statusCode, responseBody }) {
    return { name, message, statusCode, responseBody };
  }
}

// `openai(model)` uses the responses API, `openai.chat(model)` chat completions.
const results = {
  responses: shown(await generateText({ model: openai("gpt-4o-mini"), prompt })),
  responsesStream: await streamed(openai("gpt-4o-mini")),
  chat: shown(await generateText({ model: openai.chat("gpt-4o-mini"), prompt })),
  chatStream: await streamed(openai.chat("gpt-4o-mini")),
  tools: (
    await generateText({
      model: openai.chat("gpt-4o-mini"),
      prompt: "What is the weather in Paris?",
      tools,
      stopWhen: stepCountIs(3),
    })
  ).steps.map(shown),
  object: (await generateObject({ model: openai.chat("gpt-4o-mini"), prompt, schema })).object,
  embeddings: (
    await embedMany({ model: openai.embedding("text-embedding-3-small"), values: ["a", "b"] })
  ).embeddings,
  wrongModel: await error(
    generateText({ model: openai.chat("no-such-model"), prompt, maxRetries: 0 }),
  ),
};
console.log(JSON.stringify(results));
