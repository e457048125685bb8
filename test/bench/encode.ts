// What one span costs to encode, beside the SDK's own serializer on the same spans. The ratio is the figure: both run in
// this process, in turn. The SDK starts from finished ReadableSpan objects, we from exchanges; so ours also makes names and
// attributes, theirs does not.
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import { WallClock } from '../../src/clock.js';
import { ReadableSpanFactory } from '../../src/exporters/readable-span.js';
import { decodeTraces } from '../../src/otlp/decode.js';
import { TraceRequestEncoder } from '../../src/otlp/trace-request.js';
import { SpanWriter } from '../../src/signals/span.js';
import { clientExchange, serverExchange, service } from '../unit/signals/exchanges.js';
import { type PartResult, ratioOf, renderTable, spreadOf } from './figures.js';
import type { Quiet } from './quiet.js';

const SPANS = 4096;
const WARM_TURNS = 20;
const TURNS_PER_ROUND = 10;

interface Turn {
  readonly oursNs: number;
  readonly sdkNs: number;
}

export async function runEncode(rounds: number, quiet: Quiet, say: (text: string) => void): Promise<PartResult> {
  say('encode');
  const clock = new WallClock();
  clock.set(1_700_000_000, 0);
  const encoder = new TraceRequestEncoder({ clock, scopeName: 'underspan', scopeVersion: '0.1.0' });
  const writer = new SpanWriter(encoder);
  // One process, as most spans of a batch have it: each service begins a group of its own.
  const process = service();
  const exchanges = [serverExchange({ service: process }), clientExchange({ service: process })];
  const encode = () => {
    for (let at = 0; at < SPANS; at++) {
      if (!writer.writeExchange(exchanges[at & 1] as (typeof exchanges)[0], '/users/{id}')) {
        throw new Error('the encoder refused a span');
      }
    }
    return encoder.flush();
  };
  const requests = encode();
  const decoded = requests.flatMap(({ bytes }) => decodeTraces(bytes));
  if (decoded.length !== SPANS) throw new Error(`${decoded.length} spans came back of ${SPANS}`);
  const readable = new ReadableSpanFactory().toReadableSpans(decoded);
  const ourBytes = requests.reduce((sum, { bytes }) => sum + bytes.length, 0);
  let sdkBytes = 0;
  const turns: Turn[] = [];
  const turn = (): Turn => {
    const from = performance.now();
    encode();
    const between = performance.now();
    sdkBytes = ProtobufTraceSerializer.serializeRequest(readable)?.length ?? 0;
    const to = performance.now();
    return { oursNs: ((between - from) * 1e6) / SPANS, sdkNs: ((to - between) * 1e6) / SPANS };
  };
  for (let at = 0; at < WARM_TURNS; at++) turn();
  for (let round = 0; round < rounds; round++) {
    turns.push(...(await quiet.round(async () => Array.from({ length: TURNS_PER_ROUND }, turn))));
  }
  return {
    title: 'encoding a span to OTLP protobuf, batches of 4096',
    tables: [table(turns, ourBytes / SPANS, sdkBytes / SPANS)],
    warnings: [],
    data: { turns, ourBytesPerSpan: ourBytes / SPANS, sdkBytesPerSpan: sdkBytes / SPANS },
  };
}

function table(turns: readonly Turn[], ourBytes: number, sdkBytes: number): string {
  const ours = turns.map(turn => turn.oursNs);
  const sdk = turns.map(turn => turn.sdkNs);
  const columns = [
    { title: 'time, ratio to the SDK', digits: 2, hasSpread: true },
    { title: 'ns/span', digits: 0, hasSpread: true },
    { title: 'bytes/span', digits: 0 },
  ];
  return renderTable('encoder', columns, [
    { name: 'exchange to bytes (ours)', cells: [ratioOf(ours, sdk), spreadOf(ours), ourBytes] },
    { name: 'ReadableSpan to bytes (SDK)', cells: [1, spreadOf(sdk), sdkBytes] },
  ]);
}
