/** Lines about keys of the mesh. */
import type { Entry } from './entry.ts'

export const MESH_KEYS: Readonly<Record<string, Entry>> = {
  K1: {
    proofs: [
      [
        'gateway/wireguard-key.test.ts',
        'another WireGuard key > is announced beside the one in force, then takes its place; peers and the trail follow',
        'another WireGuard key > is not used before it is announced, and is nobody else’s',
        'another WireGuard key > is not for a node that was removed or is held',
      ],
    ],
  },
  K2: {
    proofs: [
      [
        'mesh/key-rotation.netns.test.ts',
        'a WireGuard key that changes (needs root and /dev/net/tun) > loses nothing in either direction, with a pre-shared key of the two as well, and leaves only the new key',
        'a WireGuard key that changes (needs root and /dev/net/tun) > that nobody could be told of is noticed by its handshake; and one that cannot be told of is not used',
        'a WireGuard key that changes (needs root and /dev/net/tun) > that a killed agent had only begun to use is given to the interface by the next one',
      ],
      [
        'agent/wireguard-rotation.test.ts',
        'another WireGuard key > that is cut short at `%s` is finished by the next agent, with the same key',
        'another WireGuard key > waits for the gateway, and is done when it is back',
      ],
    ],
  },
  K3: {
    proofs: [
      [
        'mesh/psk-agreement.test.ts',
        'a pre-shared key > is agreed on when it begins with the one %s',
        'a pre-shared key > is not taken if anything of the exchange was changed',
        'a pre-shared key > that one end has lost is agreed on anew; without an answer it is given up, and the pair lives',
        'ML-KEM-768 > comes to the same secret as another implementation, both ways',
      ],
    ],
  },
  K4: {
    proofs: [
      [
        'mesh/map-lease.test.ts',
        'the lease of the map > is not lengthened by a restart, nor by a crash, nor by a reboot',
        'the lease of the map > ends with a clock that was set back across a reboot, also to a time after it was granted',
        'the lease of the map > within a boot the wall clock cannot lengthen it',
      ],
      [
        'mesh/map-lease.netns.test.ts',
        'peers are spoken to for as long as the lease lasts, also after a restart',
      ],
      ['gateway/identity.test.ts', "the gateway's key > signs each session anew"],
    ],
  },
  K5: {
    proofs: [
      [
        'mesh/wireguard.netns.test.ts',
        'real WireGuard (needs root and /dev/net/tun) > a third node does not disturb the two, and is out at once when it is removed',
      ],
      [
        'e2e/mesh-keys.test.ts',
        'while traffic flows (needs root and /dev/net/tun) > a node that is removed is cut off by each of its peers within two seconds, whatever it is doing',
      ],
    ],
  },
}
