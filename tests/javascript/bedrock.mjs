// Calls Bedrock with AWS's client and says what came back.
//
//     node bedrock.mjs ENDPOINT bearer|signed
//
// Leaves one line of JSON: {"converse": ..., "stream": [...], ...}.

import { BedrockRuntime } from "@aws-sdk/client-bedrock-runtime";
import { NodeHttpHandler } from "@smithy/node-http-handler";

const [endpoint, kind] = process.argv.slice(2);
const keys = {
  bearer: { token: { token: "bedrock-key" }, authSchemePreference: ["httpBearerAuth"] },
  signed: { credentials: { accessKeyId: "AKIATEST", secretAccessKey: "secret-test" } },
};
const client = new BedrockRuntime({
  endpoint,
  region: "us-east-1",
  ...keys[kind],
  maxAttempts: 1,
  requestHandler: new NodeHttpHandler(), // the default speaks HTTP/2 only
});
const modelId = "us.amazon.nova-lite-v1:0";
const messages = [{ role: "user", content: [{ text: "Repeat after me: Grüße 😀" }] }];
const body = JSON.stringify({
  anthropic_version: "bedrock-2023-05-31",
  max_tokens: 100,
  messages: [{ role: "user", content: "Repeat after me: Grüße 😀" }],
});
const claude = "anthropic.claude-3-haiku-20240307-v1:0";

async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

async function error(promise) {
  try {
    await promise;
  } catch ({ name, message, $metadata }) {
    return { name, message, status: $metadata?.httpStatusCode };
  }
}

const converse = await client.converse({ modelId, messages });
const invoked = await client.invokeModel({ modelId: claude, body });
const results = {
  converse: converse.output,
  usage: converse.usage,
  requestId: converse.$metadata.requestId,
  stream: await all((await client.converseStream({ modelId, messages })).stream),
  invoke: JSON.parse(new TextDecoder().decode(invoked.body)),
  invokeStream: (
    await all((await client.invokeModelWithResponseStream({ modelId: claude, body })).body)
  ).map((event) => new TextDecoder().decode(event.chunk.bytes)),
  wrongModel: await error(client.converse({ modelId: "no-such-model", messages })),
};
console.log(JSON.stringify(results));
