// The protocols that are looked for, in the order in which they are asked: the more certain a protocol's first bytes, the
// earlier. To add one: its file, a line here, a fixture, an e2e service (STYLE.md section 9).
import { fastcgi } from './fastcgi.js';
import { http1 } from './http1.js';
import type { Protocol } from './protocol.js';

export const PROTOCOLS: readonly Protocol[] = [http1, fastcgi];
