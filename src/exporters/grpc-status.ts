// What a gRPC call ends with ("Status codes and their use in gRPC"; "PROTOCOL-HTTP2", HTTP2 Transport Mapping): a code, a
// text, details in binary. In: trailers, or what HTTP/2 says where there are none. Out: a GrpcError, or nothing if it is OK.
import { constants, type IncomingHttpHeaders } from 'node:http2';

const NAMES = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const;

export type GrpcStatus = (typeof NAMES)[number];

export class GrpcError extends Error {
  readonly code: number;
  /** google.rpc.Status; null if the receiver sent none. */
  readonly details: Uint8Array | null;

  constructor(status: GrpcStatus | number, message: string, details: Uint8Array | null = null) {
    const code = typeof status === 'number' ? status : NAMES.indexOf(status);
    super(`gRPC status ${code} ${NAMES[code] ?? ''}: ${message}`);
    this.code = code;
    this.details = details;
  }

  is(...statuses: readonly GrpcStatus[]): boolean {
    return statuses.some(status => NAMES[this.code] === status);
  }
}

/** Of an answer without a status, which comes from something in between. */
const BY_HTTP_STATUS: Readonly<Record<number, GrpcStatus>> = {
  400: 'INTERNAL',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'UNIMPLEMENTED',
  429: 'UNAVAILABLE',
  502: 'UNAVAILABLE',
  503: 'UNAVAILABLE',
  504: 'UNAVAILABLE',
};

/** Of a stream that was reset. */
const BY_RESET: Readonly<Record<number, GrpcStatus>> = {
  [constants.NGHTTP2_REFUSED_STREAM]: 'UNAVAILABLE',
  [constants.NGHTTP2_CANCEL]: 'CANCELLED',
  [constants.NGHTTP2_ENHANCE_YOUR_CALM]: 'RESOURCE_EXHAUSTED',
  [constants.NGHTTP2_INADEQUATE_SECURITY]: 'PERMISSION_DENIED',
};

/** `trailers` may be the headers of an answer that has nothing else. undefined: there is no status in them. */
export function statusIn(trailers: IncomingHttpHeaders): GrpcError | null | undefined {
  const value = single(trailers['grpc-status']);
  if (value === undefined) return undefined;
  const code = /^\d{1,3}$/.test(value) ? Number(value) : NAMES.indexOf('UNKNOWN');
  if (code === 0) return null;
  const details = single(trailers['grpc-status-details-bin']);
  return new GrpcError(
    code,
    decodeMessage(single(trailers['grpc-message']) ?? ''),
    details === undefined ? null : Buffer.from(details, 'base64'),
  );
}

/** An answer of HTTP alone. */
export function ofHttpStatus(status: number): GrpcError {
  return new GrpcError(BY_HTTP_STATUS[status] ?? 'UNKNOWN', `HTTP status ${status}, and no status of gRPC`);
}

/** A stream that ended without an answer, on a connection that is still there. */
export function ofReset(code: number, message: string): GrpcError {
  return new GrpcError(BY_RESET[code] ?? 'INTERNAL', message);
}

function single(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'object' ? value[0] : value;
}

/** Percent-encoded where it is not printable ASCII; what is not well encoded is told as it came. */
function decodeMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
