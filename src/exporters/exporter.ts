// The contract between the main thread and every destination of one signal (traces or metrics): complete, encoded OTLP
// requests go in, what became of them comes out. An exporter makes one attempt and never rejects; waiting, repeating and
// counting losses is the queue's business (queue.ts).

/** What became of one export. */
export type ExportResult =
  | { readonly kind: 'ok' }
  /** Taken, except for `rejected` spans or data points. */
  | { readonly kind: 'partial'; readonly rejected: number; readonly message: string }
  /** Not taken now; the same request may be taken later, not before `retryAfterMs` if that is known. */
  | { readonly kind: 'unavailable'; readonly message: string; readonly retryAfterMs: number | null }
  /** Will never be taken. `code`: gRPC status or HTTP status code, or an error name. */
  | { readonly kind: 'refused'; readonly code: string; readonly message: string };

export const EXPORTED: ExportResult = { kind: 'ok' };

export interface Exporter {
  /** For logs and counters: the kind of exporter and where it sends to. */
  readonly name: string;
  /** It may say `unavailable`, so that what it is given is worth keeping. */
  readonly canBeAway: boolean;
  /** It may read what it was given after `export` has resolved. */
  readonly keepsBytes: boolean;
  /** Sends one Export...ServiceRequest with `itemCount` spans or data points. Never rejects. */
  export(bytes: Uint8Array, itemCount: number): Promise<ExportResult>;
  /** Gives up what is in flight after `timeoutMs`, and closes. Never rejects. */
  shutdown(timeoutMs: number): Promise<void>;
}

/** Where exporters write lines; the caller limits their rate. */
export type Log = (level: 'debug' | 'info' | 'warn' | 'error', message: string) => void;

/** Resolves with `promise`, or after `timeoutMs` with `fallback`. The timer does not outlive the promise. */
export async function withTimeout<T>(promise: Promise<T>, timeoutMs: number, fallback: T): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const expiry = new Promise<T>(resolve => {
    timer = setTimeout(() => resolve(fallback), timeoutMs);
  });
  try {
    return await Promise.race([promise, expiry]);
  } finally {
    clearTimeout(timer);
  }
}
