/**
 * x
 * @module
 */
import { z } from "zod";
import { parseDocument } from "yaml";
/** a */
export const A: number = z.int().parse(3) + (parseDocument("a: 1").errors.length);
