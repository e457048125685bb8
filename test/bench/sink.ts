// Starts and asks the OTLP sink (sink-process.ts).
import { fileURLToPath } from 'node:url';
import { Child, until } from '../support/processes.js';
import type { SinkReport } from './sink-process.js';

const PROGRAM = fileURLToPath(new URL('./sink-process.js', import.meta.url));

export class Sink {
  readonly child: Child;
  readonly url: string;

  private constructor(child: Child, port: number) {
    this.child = child;
    this.url = `http://127.0.0.1:${port}`;
  }

  static async start(): Promise<Sink> {
    const child = new Child(process.execPath, [PROGRAM]);
    const [, port] = await until('the sink to listen', 10_000, () => /^port (\d+)$/m.exec(child.stdout));
    return new Sink(child, Number(port));
  }

  async report(): Promise<SinkReport> {
    this.child.stdout = '';
    this.child.kill('SIGUSR2');
    const [line] = await until('the sink to answer', 10_000, () => /^\{.*\}$/m.exec(this.child.stdout));
    return JSON.parse(line as string) as SinkReport;
  }

  async stop(): Promise<void> {
    await this.child.stop();
  }
}
