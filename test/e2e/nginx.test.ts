// Debian's nginx: static files by sendfile, plain answers, uploads; two workers, each an event loop.
import { testGroundTruth } from '../support/ground-truth.js';
import { startNginx } from '../support/servers.js';

testGroundTruth('nginx', () => startNginx(), { connections: 50, requests: 4000 });
