// Where Node.js keeps its async ids, by instructions of its official builds.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Executable, type FoundSymbol } from '../../../src/discovery/executable.js';
import type { Architecture } from '../../../src/discovery/instructions.js';
import { EXECUTION_ID, type NodeLayout, nodeLayout } from '../../../src/discovery/node-ids.js';

const TURNED = '_ZN4node11Environment14CheckImmediateEP10uv_check_s';

/** How CheckImmediate begins, and how AsyncHooksGetExecutionAsyncId ends. */
const BUILDS: readonly (readonly [string, Architecture, string, string, NodeLayout | null])[] = [
  [
    '18.20',
    'x64',
    '554889e5415741564c8db700ffffff41554989fd4154534883ec58',
    '488b980f010000488d7dd0e8e73929004885db7432488b8308040000f20f10004883c4285b5dc3',
    { handleAt: 256, fieldsAt: 1032 },
  ],
  [
    '22.23',
    'x64',
    '554889e5415741564155415453488d9f88feffff4883ec584c8b25b968c105',
    '4c8ba00f010000488d7dd0e8253639004d85e47430498b8424800400004c8b65f8f20f1000c9c3',
    { handleAt: 376, fieldsAt: 1152 },
  ],
  [
    '22.23',
    'arm64',
    '3f2303d5ff0303d1fd7b03a9fdc30091f55b05a9f5c002f0b5422191f35304a913e005d1a0820291',
    'd30100b4604242f9f30b40f9000040fdfd7bc4a8bf2303d5c0035fd6',
    { handleAt: 376, fieldsAt: 1152 },
  ],
  ['no handle', 'x64', '554889e5c3', '498b8424800400004c8b65f8f20f1000c9c3', null],
  ['no ids', 'x64', '554889e5415741564155415453488d9f88feffffc3', '31c0c3', null],
  ['ids on the stack', 'x64', '488d9f88feffffc3', '488b85800400004c8b65f8f20f1000c9c3', null],
];

test('two functions of Node.js tell where its ids are', () => {
  for (const [name, architecture, turned, executionId, expected] of BUILDS) {
    const code = Buffer.from(turned + executionId, 'hex');
    const symbol = (offset: number, size: number): FoundSymbol => ({ name, offset, size });
    const executable = { read: (offset: number, bytes: number) => code.subarray(offset, offset + bytes) };
    const size = turned.length / 2;
    const functions = [symbol(0, size), symbol(size, executionId.length / 2)] as const;
    assert.deepEqual(nodeLayout(executable as Executable, ...functions, architecture), expected, name);
  }
});

test('the Node.js that runs this tells, too', () => {
  const executable = Executable.open(process.execPath);
  assert.ok(executable !== null);
  const symbols = executable.dynamicSymbols([TURNED, EXECUTION_ID]);
  const [turned, executionId] = [symbols.get(TURNED), symbols.get(EXECUTION_ID)];
  assert.ok(turned !== undefined && executionId !== undefined);
  assert.notEqual(nodeLayout(executable, turned, executionId, process.arch === 'arm64' ? 'arm64' : 'x64'), null);
  executable.close();
});
