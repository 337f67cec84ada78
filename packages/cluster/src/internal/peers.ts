/** What is known of a node. */
interface Peer {
  /** Number of its last message. */
  sequence: number
  beat: number
  heardAt: number
  /** Whether it said that it leaves, or has been silent for so long that it is taken for dead. */
  gone: boolean
}

// Names come from outside: remembering all would let the owner of a stolen secret fill the memory.
const capacity = 1024

/** What a message or signal says about the order of its sender. */
export type Verdict = "next" | "gap" | "replayed"

/** The other nodes: what each has said last, and when. */
export class Peers {
  // The one heard longest ago comes first.
  private readonly peers = new Map<string, Peer>()

  /** Nodes that are there. */
  get present(): number {
    let count = 0
    for (const peer of this.peers.values()) if (!peer.gone) count++
    return count
  }

  message(node: string, sequence: number, now: number): Verdict {
    const last = this.peers.get(node)
    if (last !== undefined && sequence <= last.sequence) return "replayed"
    this.heard(node, { sequence, beat: last?.beat ?? 0, heardAt: now, gone: false })
    return sequence > (last?.sequence ?? 0) + 1 ? "gap" : "next"
  }

  beat(node: string, sequence: number, beat: number, now: number): Verdict {
    const last = this.peers.get(node)
    if (last !== undefined && beat <= last.beat) return "replayed"
    this.heard(node, { sequence: Math.max(sequence, last?.sequence ?? 0), beat, heardAt: now, gone: false })
    return sequence > (last?.sequence ?? 0) ? "gap" : "next"
  }

  leave(node: string, sequence: number, now: number): Verdict {
    const last = this.peers.get(node)
    if (last !== undefined && (last.gone || sequence < last.sequence)) return "replayed"
    // No beat comes after it.
    this.heard(node, { sequence, beat: Infinity, heardAt: now, gone: true })
    return sequence > (last?.sequence ?? 0) ? "gap" : "next"
  }

  /** Whether a node that is there has said nothing for longer than `silence`; after `memory` it is taken for dead. */
  isAnySilent(now: number, silence: number, memory: number): boolean {
    let silent = false
    for (const peer of this.peers.values()) {
      if (peer.gone || now - peer.heardAt <= silence) continue
      if (now - peer.heardAt > memory) peer.gone = true
      else silent = true
    }
    return silent
  }

  /** Nobody could be heard: their silence begins now. */
  unheard(now: number): void {
    for (const peer of this.peers.values()) peer.heardAt = now
  }

  private heard(node: string, peer: Peer): void {
    this.peers.delete(node)
    this.peers.set(node, peer)
    if (this.peers.size <= capacity) return
    for (const oldest of this.peers.keys()) {
      this.peers.delete(oldest)
      return
    }
  }
}
