// Standard output and error of the command line. A reader that goes away (`underspan trace | head`) ends the command
// quietly: Node turns SIGPIPE into EPIPE errors, which would otherwise end it with a stack trace.

/** Longest that an agent may flush after its reader has gone; more than the 5 s of an orderly stop. */
const STOP_TIMEOUT_MS = 6_000;

export function guardOutput(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    stop();
  });
  process.stderr.on('error', (error: NodeJS.ErrnoException) => {
    // Nobody can read our log any more; the work itself goes on.
    if (error.code !== 'EPIPE') throw error;
  });
}

/** An agent stops in order (it flushes on SIGTERM); anything else has nothing to finish. */
function stop(): void {
  if (process.listenerCount('SIGTERM') === 0) process.exit(0);
  setTimeout(() => process.exit(0), STOP_TIMEOUT_MS).unref();
  process.kill(process.pid, 'SIGTERM');
}

export function print(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

/** A line for people on standard error. */
export function say(text: string): void {
  process.stderr.write(`underspan: ${text}\n`);
}
