// A Go net/http server: goroutines that wander between threads, one-byte background reads, raw system calls. Its goroutines
// queue for two processors between the read of a request and the handler that starts the log's clock.
import { testGroundTruth } from '../support/ground-truth.js';
import { startGo } from '../support/servers.js';

testGroundTruth('go', startGo, { connections: 50, requests: 3000, witnessNoise: 0.2 });
