/** Version of hintsim, as in deno.json; a test holds them equal. */
export const VERSION = "0.1.0";
