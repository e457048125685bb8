// A test file whose test fails before its own cleanup, with a child and a server left open: see processes.test.ts.
import { createServer } from 'node:net';
import test from 'node:test';
import { Child } from '../../support/processes.js';

test('fails before its cleanup', () => {
  createServer().listen(0, '127.0.0.1');
  const { pid } = new Child('sleep', ['600']);
  throw new Error(`child ${pid}`);
});
