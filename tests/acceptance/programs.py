"""The applications of the acceptance test: real ``openai`` and ``boto3`` clients."""

INSTRUMENTED = """
import json, os
import boto3, openai, tracequill

provider = tracequill.register(project_name=os.environ["APP_PROJECT"])
client = openai.OpenAI(base_url=os.environ["APP_OPENAI"], api_key="sk-not-a-key")
bedrock = boto3.client("bedrock-runtime", region_name="us-east-1",
                       endpoint_url=os.environ["APP_BEDROCK"])
WEATHER = {"type": "function", "function": {"name": "get_weather",
    "description": "Current weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
                   "required": ["city"]}}}
calls = 0
with tracequill.session("conv-1"), tracequill.user("u-7"), tracequill.metadata({"plan": "pro"}):
    messages = [{"role": "user", "content": "Where is my parcel?"}]
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages)
    calls += 1
    messages += [{"role": "assistant", "content": answer.choices[0].message.content},
                 {"role": "user", "content": "What is the weather in Oslo?"}]
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=[WEATHER])
    calls += 1
    message = answer.choices[0].message
    messages.append(message.model_dump(exclude_none=True))
    for call in message.tool_calls:
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "4 degrees, rain"})
    client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=[WEATHER])
    calls += 1
    text = ""
    for chunk in client.chat.completions.create(model="gpt-4o-mini", messages=messages[:1],
            stream=True, stream_options={"include_usage": True}):
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
    calls += 1
    assert text
client.embeddings.create(model="text-embedding-3-small", input=["a parcel", "a refund"])
calls += 1
answer = bedrock.converse(modelId="amazon.nova-lite-v1:0",
    messages=[{"role": "user", "content": [{"text": "Where is my parcel?"}]}])
assert answer["output"]["message"]["content"][0]["text"]
calls += 1
body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100,
        "messages": [{"role": "user", "content": "Where is my parcel?"}]}
answer = bedrock.invoke_model(modelId="anthropic.claude-3-haiku-20240307-v1:0",
                              body=json.dumps(body))
assert json.loads(answer["body"].read())["content"]
calls += 1
provider.force_flush()
print(calls)
"""

PLAIN = """
import json, os
import boto3, openai

project = os.environ["APP_PROJECT"]
headers = {"x-tracequill-project": project,
           "x-tracequill-session-id": "conv-9", "x-tracequill-user-id": "u-9"}
client = openai.OpenAI(base_url=os.environ["APP_OPENAI"], api_key="sk-not-a-key",
                       default_headers=headers)
bedrock = boto3.client("bedrock-runtime", region_name="us-east-1",
                       endpoint_url=os.environ["APP_BEDROCK"])
bedrock.meta.events.register("before-send.bedrock-runtime",
    lambda request, **_: request.headers.update({"x-tracequill-project": project}))
client.chat.completions.create(model="gpt-4o-mini",
    messages=[{"role": "user", "content": "Where is my parcel?"}])
stream = client.chat.completions.create(model="gpt-4o-mini", stream=True,
    messages=[{"role": "user", "content": "How do I return a jacket?"}])
assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
client.embeddings.create(model="text-embedding-3-small", input="a parcel")
stream = bedrock.converse_stream(modelId="amazon.nova-lite-v1:0",
    messages=[{"role": "user", "content": [{"text": "Where is my parcel?"}]}])
assert any("contentBlockDelta" in event for event in stream["stream"])
print(4)
"""
