// `python3 -m http.server`: HTTP/1.0, a connection and a thread per request. It logs no durations.
import { testGroundTruth } from '../support/ground-truth.js';
import { startPythonHttpServer } from '../support/servers.js';

const load = { connections: 20, requests: 1200 };
const calm = { connections: 2, requests: 100, pauseMs: 2, isPunctual: true };
testGroundTruth('python http.server', () => startPythonHttpServer(1, load.requests + calm.requests), load, calm);
