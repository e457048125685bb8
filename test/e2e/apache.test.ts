// Debian's Apache httpd with the event MPM: several processes with threads, connections that wander between threads.
import { testGroundTruth } from '../support/ground-truth.js';
import { startApache } from '../support/servers.js';

testGroundTruth('apache', startApache);
