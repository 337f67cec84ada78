/**
 * The table of the memory store: sessions in numbered slots, found by key, by
 * a key they were renewed away from, and by subject, in order of use.
 *
 * A slot is a row across typed columns, not an object: a million sessions are
 * two strings each to the garbage collector. A session keeps its slot when it
 * is renewed, so whoever walks the slots meets it once.
 *
 * @internal
 */
import * as Lifetime from "../Lifetime.ts"
import type { SessionRecord } from "../SessionStore.ts"
import {
  type Alias,
  authenticatedAt,
  bytes,
  copy,
  createdAt,
  expiresAt,
  format,
  idleTimeout,
  issuedAt,
  lastSeenAt,
  newer,
  nothing,
  older,
  Page,
  pageBits,
  pageMask,
  text,
  version
} from "./sessionPage.ts"
import { ShardedMap } from "./shardedMap.ts"

/**
 * Number of aliases a session keeps, the newest ones.
 *
 * @internal
 */
export const maxAliases = 16

/** Slot of the first session. Below it are the ends of the two lists by use. */
const firstSlot = 2
const anonymousList = 0
const signedInList = 1

/** @internal */
export class SessionTable {
  /** One more than the last slot that was ever used. */
  end: number = firstSlot
  total = 0
  anonymous = 0
  evicted = 0
  expired = 0
  readonly capacity: number
  private free = 0
  private readonly pages: Array<Page> = [new Page()]
  private readonly slots = new ShardedMap<number>()
  private readonly aliasKeys = new ShardedMap<Alias>()
  /** The oldest sign-in of each subject. */
  private readonly oldest = new ShardedMap<number>()

  constructor(capacity: number) {
    this.capacity = capacity
    for (const list of [anonymousList, signedInList]) {
      this.setUse(list, older, list)
      this.setUse(list, newer, list)
    }
  }

  get subjects(): number {
    return this.oldest.size
  }

  get aliases(): number {
    return this.aliasKeys.size
  }

  find(key: string): number | undefined {
    return this.slots.get(key)
  }

  findAlias(key: string): Alias | undefined {
    return this.aliasKeys.get(key)
  }

  isUsed(slot: number): boolean {
    return this.page(slot).kinds[slot & pageMask] !== nothing
  }

  isLive(slot: number, now: number): boolean {
    const numbers = this.page(slot).numbers
    const row = (slot & pageMask) << 3
    return Lifetime.isLive({
      lastSeenAt: numbers[row + lastSeenAt],
      idleTimeout: numbers[row + idleTimeout],
      expiresAt: numbers[row + expiresAt]
    }, now)
  }

  keyOf(slot: number): string {
    return this.page(slot).keys[slot & pageMask]
  }

  versionOf(slot: number): number {
    return this.number(slot, version)
  }

  /** The record of a slot, which is the caller's own. */
  read(slot: number): SessionRecord {
    const page = this.page(slot)
    const index = slot & pageMask
    const numbers = page.numbers
    const row = index << 3
    const authenticated = numbers[row + authenticatedAt]
    return {
      version: numbers[row + version],
      createdAt: numbers[row + createdAt],
      issuedAt: numbers[row + issuedAt],
      authenticatedAt: Number.isNaN(authenticated) ? undefined : authenticated,
      lastSeenAt: numbers[row + lastSeenAt],
      idleTimeout: numbers[row + idleTimeout],
      expiresAt: numbers[row + expiresAt],
      subject: page.subjects[index],
      format: numbers[row + format],
      // Looking at the payload itself would cost a read of memory that is cold.
      payload: page.kinds[index] === text ? page.payloads[index] : copy(page.payloads[index])
    }
  }

  /** Marks a session as the one used last. */
  use(slot: number): void {
    const list = this.page(slot).subjects[slot & pageMask] === undefined ? anonymousList : signedInList
    if (this.useOf(list, older) === slot) return
    this.unlinkUse(slot)
    this.linkUse(slot, list)
  }

  touch(slot: number, now: number): void {
    const row = (slot & pageMask) << 3
    const numbers = this.page(slot).numbers
    numbers[row + lastSeenAt] = Math.max(numbers[row + lastSeenAt], now)
  }

  /** Makes room for one session more: an expired one that is due to go, an anonymous one, or any. */
  makeRoom(now: number): void {
    if (this.total < this.capacity) return
    const stranger = this.useOf(anonymousList, newer)
    const member = this.useOf(signedInList, newer)
    const victim = stranger === anonymousList || (member !== signedInList && !this.isLive(member, now))
      ? member
      : stranger
    if (this.isLive(victim, now)) {
      this.evicted++
      this.remove(victim)
    } else {
      this.expire(victim)
    }
  }

  /** Adds a session. The key must be free, and there must be room. */
  insert(key: string, record: SessionRecord): number {
    const slot = this.allocate()
    this.page(slot).keys[slot & pageMask] = key
    this.slots.set(key, slot)
    this.total++
    this.attach(slot, record)
    return slot
  }

  /** Replaces all of a record but its subject. */
  write(slot: number, record: SessionRecord): void {
    const page = this.page(slot)
    const index = slot & pageMask
    const numbers = page.numbers
    const row = index << 3
    numbers[row + version] = record.version
    numbers[row + createdAt] = record.createdAt
    numbers[row + issuedAt] = record.issuedAt
    numbers[row + authenticatedAt] = record.authenticatedAt ?? Number.NaN
    numbers[row + lastSeenAt] = record.lastSeenAt
    numbers[row + idleTimeout] = record.idleTimeout
    numbers[row + expiresAt] = record.expiresAt
    numbers[row + format] = record.format
    page.kinds[index] = typeof record.payload === "string" ? text : bytes
    page.payloads[index] = copy(record.payload)
  }

  /**
   * Moves a session to a key that is free. The old one stays an alias until `until`, if that is given; otherwise it is
   * forgotten, and the earlier aliases with it.
   */
  move(slot: number, key: string, record: SessionRecord, until: number | undefined): void {
    const page = this.page(slot)
    const index = slot & pageMask
    const oldKey = page.keys[index]
    this.slots.delete(oldKey)
    if (until === undefined) {
      this.forgetAliases(slot)
    } else {
      const alias: Alias = { key: oldKey, slot, until, older: page.aliases[index] }
      page.aliases[index] = alias
      this.aliasKeys.set(oldKey, alias)
      this.boundAliases(alias)
    }
    page.keys[index] = key
    this.slots.set(key, slot)
    if (page.subjects[index] === record.subject && this.signInOf(slot) === signIn(record)) {
      this.write(slot, record)
      this.use(slot)
    } else {
      this.detach(slot)
      this.attach(slot, record)
    }
  }

  /** Removes a session with its aliases. */
  remove(slot: number): void {
    const page = this.page(slot)
    const index = slot & pageMask
    this.detach(slot)
    this.slots.delete(page.keys[index])
    this.forgetAliases(slot)
    page.keys[index] = ""
    page.payloads[index] = ""
    page.kinds[index] = nothing
    this.setUse(slot, newer, this.free)
    this.free = slot
    if (--this.total === 0) {
      this.pages.length = 1
      this.end = firstSlot
      this.free = 0
    }
  }

  /** Removes a session that is past its deadline. */
  expire(slot: number): void {
    this.expired++
    this.remove(slot)
  }

  /** The live sessions of a subject, oldest sign-in first. */
  ofSubject(subject: string, now: number): Array<number> {
    const slots: Array<number> = []
    const oldest = this.oldest.get(subject)
    if (oldest === undefined) return slots
    let slot = oldest
    do {
      if (this.isLive(slot, now)) slots.push(slot)
      slot = this.signInBeside(slot, newer)
    } while (slot !== oldest)
    return slots
  }

  private page(slot: number): Page {
    return this.pages[slot >>> pageBits]
  }

  private number(slot: number, name: number): number {
    return this.page(slot).numbers[((slot & pageMask) << 3) + name]
  }

  private useOf(slot: number, side: number): number {
    return this.page(slot).uses[((slot & pageMask) << 1) + side]
  }

  private setUse(slot: number, side: number, to: number): void {
    this.page(slot).uses[((slot & pageMask) << 1) + side] = to
  }

  private signInBeside(slot: number, side: number): number {
    return this.page(slot).signIns[((slot & pageMask) << 1) + side]
  }

  private setSignIn(slot: number, side: number, to: number): void {
    this.page(slot).signIns[((slot & pageMask) << 1) + side] = to
  }

  private allocate(): number {
    const slot = this.free
    if (slot !== 0) {
      this.free = this.useOf(slot, newer)
      return slot
    }
    if (this.end >>> pageBits === this.pages.length) this.pages.push(new Page())
    return this.end++
  }

  private signInOf(slot: number): number {
    const at = this.number(slot, authenticatedAt)
    return Number.isNaN(at) ? this.number(slot, createdAt) : at
  }

  private forgetAliases(slot: number): void {
    const page = this.page(slot)
    const index = slot & pageMask
    for (let alias = page.aliases[index]; alias !== undefined; alias = alias.older) this.aliasKeys.delete(alias.key)
    page.aliases[index] = undefined
  }

  private boundAliases(newest: Alias): void {
    let last = newest
    for (let kept = 1; kept < maxAliases; kept++) {
      if (last.older === undefined) return
      last = last.older
    }
    for (let alias = last.older; alias !== undefined; alias = alias.older) this.aliasKeys.delete(alias.key)
    last.older = undefined
  }

  private attach(slot: number, record: SessionRecord): void {
    this.write(slot, record)
    this.page(slot).subjects[slot & pageMask] = record.subject
    if (record.subject === undefined) {
      this.anonymous++
      this.linkUse(slot, anonymousList)
    } else {
      this.linkUse(slot, signedInList)
      this.linkSubject(slot, record.subject)
    }
  }

  private detach(slot: number): void {
    const page = this.page(slot)
    const index = slot & pageMask
    const subject = page.subjects[index]
    this.unlinkUse(slot)
    if (subject === undefined) {
      this.anonymous--
    } else {
      this.unlinkSubject(slot, subject)
      page.subjects[index] = undefined
    }
  }

  private linkUse(slot: number, list: number): void {
    const last = this.useOf(list, older)
    this.setUse(slot, older, last)
    this.setUse(slot, newer, list)
    this.setUse(last, newer, slot)
    this.setUse(list, older, slot)
  }

  private unlinkUse(slot: number): void {
    const left = this.useOf(slot, older)
    const right = this.useOf(slot, newer)
    this.setUse(left, newer, right)
    this.setUse(right, older, left)
  }

  // Almost always at the end: only a renewal that is no sign-in brings an earlier one.
  private linkSubject(slot: number, subject: string): void {
    const oldest = this.oldest.get(subject)
    if (oldest === undefined) {
      this.oldest.set(subject, slot)
      this.setSignIn(slot, older, slot)
      this.setSignIn(slot, newer, slot)
      return
    }
    const at = this.signInOf(slot)
    let left = this.signInBeside(oldest, older)
    if (at < this.signInOf(oldest)) {
      this.oldest.set(subject, slot)
    } else {
      while (this.signInOf(left) > at) left = this.signInBeside(left, older)
    }
    const right = this.signInBeside(left, newer)
    this.setSignIn(slot, older, left)
    this.setSignIn(slot, newer, right)
    this.setSignIn(left, newer, slot)
    this.setSignIn(right, older, slot)
  }

  private unlinkSubject(slot: number, subject: string): void {
    const right = this.signInBeside(slot, newer)
    if (right === slot) {
      this.oldest.delete(subject)
      return
    }
    const left = this.signInBeside(slot, older)
    this.setSignIn(left, newer, right)
    this.setSignIn(right, older, left)
    if (this.oldest.get(subject) === slot) this.oldest.set(subject, right)
  }
}

const signIn = (record: SessionRecord): number => record.authenticatedAt ?? record.createdAt
