// gunicorn with threaded workers: prefork from one listening socket, heads and bodies in calls of their own.
import { testGroundTruth } from '../support/ground-truth.js';
import { startGunicorn } from '../support/servers.js';

testGroundTruth('gunicorn', () => startGunicorn({ workers: 2, threads: 1 }));
