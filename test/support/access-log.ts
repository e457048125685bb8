// Access logs of the servers in one shape. Each parser takes one line as its server writes it; a line that it does not
// understand is an error, never skipped.
import { pathOf } from './load-plan.js';

export interface AccessEntry {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly status: number;
  /** Milliseconds since the Unix epoch at which the server's clock for this request began; NaN if not logged. */
  readonly startMs: number;
  /** Milliseconds; NaN if not logged. */
  readonly durationMs: number;
}

export interface LogFormat {
  /** Granularity of the logged duration in milliseconds: what the reference itself may be wrong by. */
  readonly resolutionMs: number;
  /** The server reads the whole request before its clock starts. */
  readonly beginsAfterBody?: boolean;
  parse(line: string): AccessEntry | null;
}

function entry(method: string, target: string, status: string | number, startMs: number, durationMs: number) {
  return { method, path: pathOf(target), status: Number(status), startMs, durationMs };
}

/** One JSON object a line, written by test/services/node-server.mjs. */
export const nodeFormat: LogFormat = {
  resolutionMs: 0,
  parse: line => {
    const value = JSON.parse(line) as AccessEntry;
    return entry(value.method, value.path, value.status, value.startMs, value.durationMs);
  },
};

interface NginxLine {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly seconds: number;
  readonly end: number;
  readonly length: string;
  readonly coding: string;
  readonly connection: string;
}

/**
 * test/services/nginx.conf: `$request_time` and `$msec`, both of nginx's clock of milliseconds. A request with a body on a
 * connection that is to be closed is logged only after the client has hung up (`lingering_close`): no time can be had.
 */
export const nginxFormat: LogFormat = {
  resolutionMs: 1,
  parse: line => {
    const value = JSON.parse(line) as NginxLine;
    const hasBody = Number(value.length) > 0 || value.coding !== '';
    const durationMs = hasBody && value.connection === 'close' ? Number.NaN : value.seconds * 1000;
    return entry(value.method, value.path, value.status, (value.end - value.seconds) * 1000, durationMs);
  },
};

/** test/services/apache.conf: `%D %>s %{begin:usec}t %r`. */
export const apacheFormat: LogFormat = {
  resolutionMs: 0.001,
  parse: line => {
    const fields = /^(\d+) (\d+) (\d+) (\S+) (\S+) HTTP\/1\.[01]$/.exec(line);
    if (fields === null) return null;
    const [, micros, status, begin, method = '', target = ''] = fields;
    return entry(method, target, status ?? '', Number(begin) / 1000, Number(micros) / 1000);
  },
};

/** gunicorn with `--access-logformat '%(m)s %(U)s %(s)s %(D)s'`. */
export const gunicornFormat: LogFormat = {
  resolutionMs: 0.001,
  parse: line => {
    const fields = /^(\S+) (\S+) (\d+) (\d+)$/.exec(line);
    if (fields === null) return null;
    const [, method = '', target = '', status = '', micros] = fields;
    return entry(method, target, status, Number.NaN, Number(micros) / 1000);
  },
};

/** test/services/go-server.go: method, path, status, start and duration in microseconds. */
export const goFormat: LogFormat = {
  resolutionMs: 0.001,
  parse: line => {
    const fields = /^(\S+) (\S+) (\d+) (\d+) (\d+)$/.exec(line);
    if (fields === null) return null;
    const [, method = '', target = '', status = '', begin, micros] = fields;
    return entry(method, target, status, Number(begin) / 1000, Number(micros) / 1000);
  },
};

/** Puma's `log_requests`: `127.0.0.1 - - [time] "GET /path HTTP/1.1" 200 12 0.0001`, seconds to four digits. */
export const pumaFormat: LogFormat = {
  resolutionMs: 0.1,
  beginsAfterBody: true,
  parse: line => {
    const fields = /^\S+ - \S+ \[[^\]]*\] "(\S+) (\S+) HTTP\/1\.[01]" (\d+) \S+ ([\d.]+)$/.exec(line);
    if (fields === null) return null;
    const [, method = '', target = '', status = '', seconds] = fields;
    return entry(method, target, status, Number.NaN, Number(seconds) * 1000);
  },
};

/** `python3 -m http.server`: `127.0.0.1 - - [time] "GET /path HTTP/1.1" 200 -`, no times. */
export const pythonFormat: LogFormat = {
  resolutionMs: Number.NaN,
  parse: line => {
    const fields = /^\S+ - - \[[^\]]*\] "(\S+) (\S+) HTTP\/1\.[01]" (\d+) \S+$/.exec(line);
    if (fields === null) return null;
    const [, method = '', target = '', status = ''] = fields;
    return entry(method, target, status, Number.NaN, Number.NaN);
  },
};

/** All entries of a log. `isNoise` names the lines that the server mixes in and that are no requests. */
export function parseLog(
  format: LogFormat,
  text: string,
  isNoise: (line: string) => boolean = () => false,
): AccessEntry[] {
  const entries: AccessEntry[] = [];
  for (const line of text.split('\n')) {
    if (line === '' || isNoise(line)) continue;
    const parsed = format.parse(line);
    if (parsed === null) throw new Error(`not an access log line: ${line}`);
    entries.push(parsed);
  }
  return entries;
}
