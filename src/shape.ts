// Gives the objects of a class their final shape before the first real one is made. V8 compiles code for the shape that it has
// seen, and throws all of it away when a field for the first time holds a fraction, an object where null was, or a second
// value: on the pipeline's hub classes that was every function of the path, seconds into the load.

/** Fields that hold fractions, or integers beyond 2^31: by their names' units, and those named here. */
const IS_DOUBLE = /(Ns|Seconds)$/;

/** `sample` is of no use afterwards. */
export function settleShape(sample: object, doubles: ReadonlySet<string> = new Set()): void {
  const fields = sample as Record<string, unknown>;
  for (const [key, value] of Object.entries(fields)) {
    for (const other of othersThan(value, IS_DOUBLE.test(key) || doubles.has(key))) fields[key] = other;
  }
}

function othersThan(value: unknown, isDouble: boolean): unknown[] {
  switch (typeof value) {
    case 'number':
      return isDouble ? [0.5, 1.5] : [1, 2];
    case 'string':
      return ['a', 'b'];
    case 'boolean':
      return [true, false];
    default:
      return value === null ? [{}, null] : [];
  }
}
