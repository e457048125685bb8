// A node:http server: one thread, one event loop, writev, chunked responses.
import { testGroundTruth } from '../support/ground-truth.js';
import { startNodeServer } from '../support/servers.js';

testGroundTruth('node', () => startNodeServer(), { connections: 50, requests: 4000 });
