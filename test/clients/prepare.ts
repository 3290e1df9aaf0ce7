/**
 * Makes what the client tests need and fails when it cannot: run it before them, so that its time
 * is not counted as theirs.
 */
import { debianImage } from './debian.ts'
import { dockerDirectory, GO_TOOLS, goTool, requireDebianTools } from './tools.ts'

await requireDebianTools()
for (const tool of GO_TOOLS) console.log(await goTool(tool))
console.log(await dockerDirectory())
const { layout, digest, layers } = await debianImage()
console.log(`${layout} ${digest} ${layers.map(layer => layer.size).join('+')} bytes`)
