// What doctor and the preflight say about machines that we do not have: /proc and /sys made up in a folder.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { after } from 'node:test';
import { missingForProbes, readCapabilities } from '../../../src/cli/capabilities.js';
import { renderJson, renderText } from '../../../src/cli/doctor.js';
import { type Check, checkMachine } from '../../../src/cli/machine-checks.js';
import { assertPrivileges } from '../../../src/cli/preflight.js';
import { loadConfig } from '../../../src/config/load.js';

const folder = mkdtempSync(path.join(tmpdir(), 'underspan-machine-'));
after(() => rmSync(folder, { recursive: true }));

const ALL = '000001ffffffffff';
const GOOD: Readonly<Record<string, string>> = {
  'proc/self/status': `Name:\tnode\nCapEff:\t${ALL}\n`,
  'proc/self/limits': 'Limit\nMax locked memory         8388608              8388608              bytes\n',
  'proc/sys/net/core/bpf_jit_enable': '1\n',
  'proc/sys/kernel/unprivileged_bpf_disabled': '2\n',
  'proc/sys/kernel/bpf_stats_enabled': '0\n',
  'sys/kernel/security/lockdown': 'none [integrity] confidentiality\n',
  'sys/kernel/btf/vmlinux': 'BTF',
  'sys/kernel/tracing/events/x': '',
};
const NAMESPACES = { pid: 'pid:[4026531836]', user: 'user:[4026531837]' };
let machines = 0;

/** A machine like the good one; '' leaves a file out. */
function machine(changes: Readonly<Record<string, string>> = {}, namespaces: Partial<typeof NAMESPACES> = {}): string {
  const root = path.join(folder, String(machines++));
  for (const [name, text] of Object.entries({ ...GOOD, ...changes })) {
    if (changes[name] === '') continue;
    mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    writeFileSync(path.join(root, name), text);
  }
  mkdirSync(path.join(root, 'proc/self/ns'), { recursive: true });
  for (const [name, target] of Object.entries({ ...NAMESPACES, ...namespaces })) {
    symlinkSync(target, path.join(root, 'proc/self/ns', name));
  }
  return root;
}

function checks(root: string, release = '6.1.0-20-amd64', architecture = 'x64'): readonly Check[] {
  return checkMachine({ root, release, architecture, btf: '' });
}

/** `name: state!` of all that is not ok; `!` where the agent cannot run. */
function notOk(all: readonly Check[]): string[] {
  return all.filter(one => one.state !== 'ok').map(one => `${one.name}: ${one.state}${one.isRequired ? '!' : ''}`);
}

test('a machine that has everything', () => {
  const all = checks(machine());
  assert.deepEqual(notOk(all), []);
  assert.match(renderText(all), /Everything is there\.\n$/);
  assert.equal(JSON.parse(renderJson(all)).ok, true);
});

test('what each lack costs', () => {
  const status = (mask: string) => ({ 'proc/self/status': `CapEff:\t${mask}\n` });
  assert.deepEqual(notOk(checks(machine(), '5.4.0')), ['version: lost!']);
  assert.deepEqual(notOk(checks(machine(), '6.1.0', 'riscv64')), ['architecture: lost!']);
  assert.deepEqual(notOk(checks(machine({ 'sys/kernel/btf/vmlinux': '' }))), ['BTF: lost!']);
  assert.deepEqual(notOk(checks(machine({ 'sys/kernel/security/lockdown': 'none integrity [confidentiality]' }))), [
    'lockdown: lost!',
  ]);
  assert.deepEqual(notOk(checks(machine({ 'sys/kernel/security/lockdown': '' }))), ['lockdown: note']);
  assert.deepEqual(notOk(checks(machine(status('0')))), [
    'CAP_BPF: lost!',
    'CAP_PERFMON: lost!',
    'CAP_SYS_PTRACE: lost',
    'CAP_DAC_READ_SEARCH: lost',
    'CAP_CHECKPOINT_RESTORE: note',
  ]);
  // CAP_SYS_ADMIN (bit 21) contains CAP_BPF, CAP_PERFMON and CAP_CHECKPOINT_RESTORE.
  assert.deepEqual(notOk(checks(machine(status('200000')))), ['CAP_SYS_PTRACE: lost', 'CAP_DAC_READ_SEARCH: lost']);
  assert.deepEqual(notOk(checks(machine({}, { pid: 'pid:[4026532000]' }))), ['pid: lost']);
  assert.deepEqual(notOk(checks(machine({}, { user: 'user:[4026532000]' }))), ['user: lost!']);
  assert.deepEqual(notOk(checks(machine({ 'proc/sys/net/core/bpf_jit_enable': '0' }))), ['bpf_jit: lost']);
  assert.deepEqual(notOk(checks(machine({ 'proc/sys/kernel/bpf_stats_enabled': '1' }))), ['bpf_stats: note']);
});

test('the limit of locked memory counts before Linux 5.11 only', () => {
  const withoutResource = { 'proc/self/status': 'CapEff:\t000001fffeffffff\n' };
  assert.deepEqual(notOk(checks(machine(withoutResource), '5.10.0')), ['memlock: lost!']);
  assert.deepEqual(notOk(checks(machine(withoutResource), '5.11.0')), []);
  assert.deepEqual(notOk(checks(machine(), '5.10.0')), []);
  const unlimited = {
    ...withoutResource,
    'proc/self/limits': 'Max locked memory         unlimited            unlimited            bytes\n',
  };
  assert.deepEqual(notOk(checks(machine(unlimited), '5.10.0')), []);
});

test('the text says what to do, and what keeps the agent from running', () => {
  const text = renderText(checks(machine({ 'sys/kernel/btf/vmlinux': '', 'proc/sys/net/core/bpf_jit_enable': '0' })));
  assert.match(text, /^ {2}lost {2}BTF .* is missing: probes cannot be fitted to this kernel\n +-> Use a kernel with/m);
  assert.match(text, /\nUnderspan cannot run here: BTF\.\n$/);
  const lesser = renderText(checks(machine({ 'proc/sys/net/core/bpf_jit_enable': '0' })));
  assert.match(lesser, /\nIt runs; 1 of its features is lost\.\n$/);
});

test('the preflight: one error for what makes it pointless to go on', () => {
  const { config } = loadConfig({ environment: {} });
  assert.doesNotThrow(() => assertPrivileges(config, machine()));
  const none = machine({ 'proc/self/status': 'CapEff:\t0000000000000004\n' });
  assert.deepEqual(missingForProbes(readCapabilities(none)), ['CAP_BPF', 'CAP_PERFMON']);
  const code = process.geteuid?.() === 0 ? 'CAPABILITY_MISSING' : 'NOT_PRIVILEGED';
  assert.throws(() => assertPrivileges(config, none), { code, exitCode: 3, message: /CAP_BPF, CAP_PERFMON/ });
  const noBtf = machine({ 'sys/kernel/btf/vmlinux': '' });
  assert.throws(() => assertPrivileges(config, noBtf), { code: 'BTF_MISSING', exitCode: 3 });
  const other = loadConfig({ environment: { UNDERSPAN_KERNEL_BTF: '/nonexistent.btf' } }).config;
  assert.throws(() => assertPrivileges(other, machine()), { code: 'BTF_MISSING', message: /\/nonexistent\.btf/ });
});
