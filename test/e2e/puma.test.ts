// Puma, a threaded Ruby server with its own request log. Its threads take turns in the interpreter, and its clock stops when
// a thread gets its turn again: only one connection at a time lets that clock be compared in the calm phase.
import { testGroundTruth } from '../support/ground-truth.js';
import { startPuma } from '../support/servers.js';

const load = { connections: 50, requests: 3000, witnessNoise: 0.3 };
const calm = { connections: 1, requests: 300, pauseMs: 2, isPunctual: true };
testGroundTruth('puma', () => startPuma({ threads: 50 }), load, calm);
