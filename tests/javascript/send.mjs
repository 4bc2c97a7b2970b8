// Sends spans with one of OpenTelemetry's exporters and says what became of them.
//
//     node send.mjs proto|json|grpc ENDPOINT COMPRESSION COUNT
//
// Leaves one line of JSON: {"results": [{"code": 0}], "spans": [...]}, where code 0 is success.

import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { OTLPTraceExporter as GrpcExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { OTLPTraceExporter as JsonExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as ProtoExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

const EXPORTERS = { proto: ProtoExporter, json: JsonExporter, grpc: GrpcExporter };
const [protocol, url, compression, count] = process.argv.slice(2);

const exporter = new EXPORTERS[protocol]({ url, compression });
const results = [];
const sent = [];

// Between the SDK and the exporter: notes what goes in and what comes out.
const noting = {
  export(spans, done) {
    sent.push(...spans);
    exporter.export(spans, (result) => {
      results.push({ code: result.code, error: result.error && String(result.error) });
      done(result);
    });
  },
  shutdown: () => exporter.shutdown(),
  forceFlush: () => exporter.forceFlush(),
};

const provider = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(noting)] });
const tracer = provider.getTracer("javascript", "1.0");

for (let number = 0; number < Number(count); number++) {
  const parent = tracer.startSpan(`parent ${number}`, { kind: SpanKind.SERVER }, ROOT_CONTEXT);
  const child = tracer.startSpan(
    `child ${number}`,
    { kind: SpanKind.CLIENT, links: [{ context: parent.spanContext() }] },
    trace.setSpan(ROOT_CONTEXT, parent),
  );
  child.setAttributes({
    "input.value": "Wie geht's? 🙂 日本語",
    "llm.token_count.total": 9007199254740991,
    "llm.cost": 0.1,
    "is.cached": true,
    "list.texts": ["a", "b"],
    "list.numbers": [1, 2.5],
    "cut.text": "🙂".slice(0, 1),
  });
  child.addEvent("first token", { place: number });
  child.setStatus({ code: SpanStatusCode.ERROR, message: "it failed" });
  child.end();
  parent.end();
}

await provider.forceFlush().catch(() => undefined);
await provider.shutdown().catch(() => undefined);

console.log(
  JSON.stringify({
    results,
    spans: sent.map((span) => ({
      traceId: span.spanContext().traceId,
      spanId: span.spanContext().spanId,
      parentSpanId: span.parentSpanContext?.spanId ?? "",
      name: span.name,
      start: String(BigInt(span.startTime[0]) * 1_000_000_000n + BigInt(span.startTime[1])),
      end: String(BigInt(span.endTime[0]) * 1_000_000_000n + BigInt(span.endTime[1])),
      attributes: span.attributes,
    })),
  }),
);
