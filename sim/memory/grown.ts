/** Typed columns that grow. */

/** A typed array that can be copied into a longer one of its kind. */
interface Column {
  readonly length: number;
  set(values: this): void;
}

/** A longer copy of a column, zeros at its end. */
export function grown<T extends Column>(column: T, length: number): T {
  const longer = new (column.constructor as new (length: number) => T)(length);
  longer.set(column);
  return longer;
}
