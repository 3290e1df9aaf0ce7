/**
 * Proves that a node killed in 100 pushes of skopeo, which retries, loses no image that it
 * acknowledged, shows no part of one, and has no file left over after its next start. Prints one
 * JSON object; exits 1 when that does not hold. Needs skopeo.
 */
import { parseArgs } from 'node:util'
import { killedPushes } from '../clients/killed-pushes.ts'

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '100' } } })
const found = await killedPushes(Number(values.rounds))
const wrong = [...found.lost, ...found.halfVisible, ...found.strayFiles]
const holds = wrong.length === 0 && found.acknowledged === found.rounds && found.killedMidway > 0
console.log(JSON.stringify({ prove: 'killed-pushes', ...found, holds }))
process.exitCode = holds ? 0 : 1
