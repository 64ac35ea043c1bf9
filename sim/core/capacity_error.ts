/** A limit of the simulator was reached in the middle of a run. The run ends there, with the message as its finding. */
export class CapacityError extends RangeError {
  /** One sentence: what holds how much. */
  constructor(message: string) {
    super(message);
    this.name = "CapacityError";
  }
}
