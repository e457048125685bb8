// The agent's own log: one line per entry on standard error, as text or JSON. Text from outside (paths, errors of
// backends, words of the wire) can never break a line or reach the terminal as a control sequence. What the rate limit
// leaves out is counted and said with the next line of that key. Never used on the data path per record.
import type { LogLevel } from '../config/schema.js';

export type LogFields = Readonly<Record<string, string | number | boolean>>;

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: 'text' | 'json';
  /** Takes one line with its newline; default: standard error. */
  readonly write?: (line: string) => void;
  /** Wall-clock milliseconds; default: Date.now. */
  readonly now?: () => number;
}

const SEVERITY: Readonly<Record<LogLevel, number>> = { error: 0, warn: 1, info: 2, debug: 3 };
const LIMIT_INTERVAL_MS = 10_000;
/** Keys are constants of the code plus few names (exporters); this bound only guards against a mistake. */
const MAX_LIMIT_KEYS = 1024;
const MAX_MESSAGE_LENGTH = 4096;

interface Limit {
  nextMs: number;
  leftOut: number;
}

export class Logger {
  readonly #format: 'text' | 'json';
  readonly #write: (line: string) => void;
  readonly #now: () => number;
  readonly #limits = new Map<string, Limit>();
  #severity: number;

  constructor(options: LoggerOptions) {
    this.#severity = SEVERITY[options.level];
    this.#format = options.format;
    this.#write = options.write ?? writeToStderr;
    this.#now = options.now ?? Date.now;
  }

  setLevel(level: LogLevel): void {
    this.#severity = SEVERITY[level];
  }

  isEnabled(level: LogLevel): boolean {
    return SEVERITY[level] <= this.#severity;
  }

  error(message: string, fields?: LogFields): void {
    this.log('error', message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.log('warn', message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.log('info', message, fields);
  }

  debug(message: string, fields?: LogFields): void {
    this.log('debug', message, fields);
  }

  log(level: LogLevel, message: string, fields: LogFields = {}): void {
    if (!this.isEnabled(level)) return;
    const time = new Date(this.#now()).toISOString();
    const text = clean(message);
    if (this.#format === 'json') {
      this.#write(`${JSON.stringify({ time, level, message: text, ...fields })}\n`);
      return;
    }
    const tail = Object.entries(fields).map(([name, value]) => ` ${name}=${clean(String(value))}`);
    this.#write(`${time} ${level.padEnd(5)} ${text}${tail.join('')}\n`);
  }

  /** Logs at most once an interval (10 s) for each key; the next line says how many were left out. */
  limited(key: string, level: LogLevel, message: string, fields: LogFields = {}): void {
    if (!this.isEnabled(level)) return;
    const nowMs = this.#now();
    const limit = this.#limits.get(key);
    if (limit !== undefined && nowMs < limit.nextMs) {
      limit.leftOut++;
      return;
    }
    if (limit === undefined && this.#limits.size >= MAX_LIMIT_KEYS) this.#limits.clear();
    this.#limits.set(key, { nextMs: nowMs + LIMIT_INTERVAL_MS, leftOut: 0 });
    const leftOut = limit?.leftOut ?? 0;
    this.log(level, message, leftOut === 0 ? fields : { ...fields, repeated: leftOut });
  }
}

/** One bounded line without control characters (C0, DEL, C1, line separators, bidirectional overrides). */
export function clean(text: string): string {
  const bounded = text.length > MAX_MESSAGE_LENGTH ? `${text.slice(0, MAX_MESSAGE_LENGTH)}...` : text;
  return bounded.replace(/\p{Cc}|[\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, character =>
    character === '\n' ? ' | ' : `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

function writeToStderr(line: string): void {
  process.stderr.write(line);
}
