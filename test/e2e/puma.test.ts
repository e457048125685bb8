// Puma, a threaded Ruby server with its own request log.
import { testGroundTruth } from '../support/ground-truth.js';
import { startPuma } from '../support/servers.js';

testGroundTruth('puma', () => startPuma({ threads: 50 }));
