// What backends say when they are asked as their users ask them: Jaeger's and Tempo's traces as spans that can be compared,
// Prometheus's samples.
import { get } from './agent.js';

export interface StoredSpan {
  readonly spanId: string;
  /** '' for a root. */
  readonly parentSpanId: string;
  readonly name: string;
  readonly startUnixNs: bigint;
  readonly endUnixNs: bigint;
  readonly attributes: number;
}

interface OtlpJson {
  readonly scopeSpans?: readonly { readonly spans?: readonly OtlpSpan[] }[];
}
interface OtlpSpan {
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes?: readonly unknown[];
}

/** The answer of a backend as JSON; throws with what it said if it is not 200. */
export async function ask<T>(url: string): Promise<T> {
  const { status, body } = await get(url);
  if (status !== 200) throw new Error(`${url}: status ${status}: ${body.slice(0, 500)}`);
  return JSON.parse(body) as T;
}

/** Null while the backend does not have the trace. */
export async function jaegerTrace(jaegerUrl: string, traceId: string): Promise<StoredSpan[] | null> {
  const { status, body } = await get(`${jaegerUrl}/api/v3/traces/${traceId}`);
  if (status !== 200) return null;
  const answer = JSON.parse(body) as { readonly result?: { readonly resourceSpans?: readonly OtlpJson[] } };
  return spansIn(answer.result?.resourceSpans ?? [], id => id);
}

export async function tempoTrace(tempoUrl: string, traceId: string): Promise<StoredSpan[] | null> {
  const { status, body } = await get(`${tempoUrl}/api/traces/${traceId}`);
  if (status !== 200) return null;
  const answer = JSON.parse(body) as { readonly batches?: readonly OtlpJson[] };
  return spansIn(answer.batches ?? [], id => Buffer.from(id, 'base64').toString('hex'));
}

function spansIn(groups: readonly OtlpJson[], toHex: (id: string) => string): StoredSpan[] {
  return groups.flatMap(({ scopeSpans = [] }) =>
    scopeSpans.flatMap(({ spans = [] }) =>
      spans.map(span => ({
        spanId: toHex(span.spanId),
        parentSpanId: toHex(span.parentSpanId ?? ''),
        name: span.name,
        startUnixNs: BigInt(span.startTimeUnixNano),
        endUnixNs: BigInt(span.endTimeUnixNano),
        attributes: span.attributes?.length ?? 0,
      })),
    ),
  );
}

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

/** An instant query; throws with Prometheus's words where it does not understand it. */
export async function query(prometheusUrl: string, expression: string): Promise<Sample[]> {
  const answer = await ask<{
    readonly data: {
      readonly result: readonly { readonly metric: Record<string, string>; readonly value: [number, string] }[];
    };
  }>(`${prometheusUrl}/api/v1/query?query=${encodeURIComponent(expression)}`);
  return answer.data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
}
