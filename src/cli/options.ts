// What the command line hands to the agent: filled by src/cli/*, read by src/agent.ts. Types only.
import type { Config, PortRange } from '../config/schema.js';

/** Filters on what `underspan trace` shows. Absent criteria let everything pass; all that are given must hold. */
export interface TraceFilters {
  /** Glob on url.path: `*` within a segment, `**` across segments, `?` one character. */
  readonly path?: string;
  /** Inclusive range of http.response.status_code: `500` is 500..500, `5xx` is 500..599. */
  readonly status?: { readonly first: number; readonly last: number };
  /** Shortest span duration that is shown, nanoseconds. */
  readonly minDurationNs?: number;
  /** Local port of a server, remote port of a client. */
  readonly ports?: readonly PortRange[];
}

export type AgentMode = 'run' | 'trace' | 'record' | 'replay';

export interface AgentOptions {
  readonly mode: AgentMode;
  /** The recording: written by `record`, read by `replay`. */
  readonly file?: string;
  readonly filters?: TraceFilters;
  /** `trace`: one line per closed connection instead of spans. */
  readonly connections?: boolean;
  /** One JSON object a line instead of the tree. */
  readonly json?: boolean;
  /** False: never colour. Absent: colour on a terminal that wants it. */
  readonly color?: boolean;
  readonly configPath?: string;
  /** Loads file, environment and flags anew (SIGHUP); rejects with AgentError and the agent keeps its configuration. */
  readonly reload?: () => Promise<Config>;
}
