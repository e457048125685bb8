// What a receiver says about a request that it took: everything (no partial success), a part, or a warning (partial
// success without rejections; OTLP specification, "Partial Success").
import { reasonOf } from '../errors.js';
import type { PartialSuccess } from '../otlp/decode.js';
import { EXPORTED, type ExportResult, type Log } from './exporter.js';

export function partialResult(
  name: string,
  response: Uint8Array | null,
  decode: (response: Uint8Array) => PartialSuccess | null,
  log: Log,
): ExportResult {
  if (response === null || response.length === 0) return EXPORTED;
  try {
    const partial = decode(response);
    if (partial === null) return EXPORTED;
    if (partial.rejected > 0) return { kind: 'partial', rejected: partial.rejected, message: partial.message };
    if (partial.message !== '') log('warn', `${name}: the receiver warns: ${partial.message}`);
  } catch (error) {
    // The status said that the request was taken: an unreadable answer does not change that.
    log('warn', `${name}: cannot read the receiver's answer: ${reasonOf(error)}`);
  }
  return EXPORTED;
}
