// A Go net/http server: goroutines that wander between threads, one-byte background reads, raw system calls.
import { testGroundTruth } from '../support/ground-truth.js';
import { startGo } from '../support/servers.js';

testGroundTruth('go', startGo);
