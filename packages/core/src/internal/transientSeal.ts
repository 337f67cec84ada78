/**
 * Seals whose octets are used up at once and given to nobody: as those of a cookie, which become text. They come out of a
 * slab.
 *
 * The way to them belongs to the very function that seals. Whoever puts another one in its place is asked for everything.
 *
 * @internal
 */
import type { Sealer } from "./sealer.ts"

const ways = new WeakMap<Sealer["seal"], Sealer["seal"]>()

/** @internal */
export const provide = (seal: Sealer["seal"], transient: Sealer["seal"]): void => void ways.set(seal, transient)

/** @internal */
export const of = (seal: Sealer["seal"]): Sealer["seal"] => ways.get(seal) ?? seal
