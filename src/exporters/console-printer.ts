// The one place where view lines meet the output: what the reader is too slow for is dropped whole, counted, and told
// as soon as lines pass again, so that a gap on the screen is never silent.
import type { LineOutput } from './console-output.js';

export class LinePrinter {
  readonly #output: LineOutput;
  readonly #notice: (lines: number) => string;
  #printed = 0;
  #dropped = 0;
  #untold = 0;

  /** `notice` words the line that tells how many lines are missing. */
  constructor(output: LineOutput, notice: (lines: number) => string) {
    this.#output = output;
    this.#notice = notice;
  }

  /** Lines written. */
  get printed(): number {
    return this.#printed;
  }

  /** Lines that the reader was too slow for. */
  get dropped(): number {
    return this.#dropped;
  }

  get columns(): number {
    return this.#output.columns;
  }

  /** Prints all the lines or, if the output is full, none. */
  print(lines: readonly string[]): boolean {
    const notice = this.#untold > 0 ? `${this.#notice(this.#untold)}\n` : '';
    if (!this.#output.write(`${notice}${lines.join('\n')}\n`)) {
      this.#dropped += lines.length;
      this.#untold += lines.length;
      return false;
    }
    this.#untold = 0;
    this.#printed += lines.length;
    return true;
  }

  /** Waits until what was printed is written, at most `timeoutMs`, then tells what is still untold. */
  async flush(timeoutMs: number): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    await this.#output.flush(timeoutMs);
    if (this.#untold > 0 && this.#output.write(`${this.#notice(this.#untold)}\n`)) this.#untold = 0;
    await this.#output.flush(Math.max(0, endMs - performance.now()));
  }
}
