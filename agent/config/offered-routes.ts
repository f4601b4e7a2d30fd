/** The networks that a node offers, as its owner writes them down. */
import { EXIT, UserError } from '../../host/user-error.ts'
import { Cidr } from '../../protocol/ids.ts'
import { MAX_NODE_ROUTES } from '../../protocol/limits.ts'
import { canonicalNetwork, isPrivateNetwork, networksOverlap } from '../../protocol/networks.ts'

/** @param fleet the fleet's ranges, as far as they are known. */
export function parseRoutes(texts: readonly string[], fleet: readonly string[]): Cidr[] {
  if (texts.length > MAX_NODE_ROUTES) throw invalid(`there are at most ${MAX_NODE_ROUTES}`)
  const networks = texts.map((text) => {
    const network = Cidr.safeParse(text)
    if (!network.success) throw invalid(`${JSON.stringify(text)} is not a network like 192.168.7.0/24`)
    if (!isPrivateNetwork(network.data)) throw invalid(`${text} is not within the private ranges`)
    const range = fleet.find((one) => networksOverlap(one, network.data))
    if (range !== undefined) throw invalid(`${text} overlaps the fleet's own range ${range}`)
    return canonicalNetwork(network.data)
  })
  return [...new Set(networks)]
}

const invalid = (message: string): UserError =>
  new UserError({ code: 'E_ROUTES_INVALID', message, exitCode: EXIT.badConfig })
