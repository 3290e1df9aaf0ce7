/** A piece of SVG, as text. */
export type Svg = string

type Attributes = Readonly<Record<string, string | number>>

export function element(name: string, attributes: Attributes, ...children: readonly Svg[]): Svg {
  const pairs = Object.entries(attributes).map(([key, value]) => ` ${key}="${format(value)}"`)
  const start = `<${name}${pairs.join('')}`
  return children.length === 0 ? `${start}/>` : `${start}>${children.join('')}</${name}>`
}

/** Text at a point; `anchor` is the part of it that lies there. */
export function label(
  x: number,
  y: number,
  text: string,
  style: Attributes & { readonly anchor?: 'start' | 'middle' | 'end' } = {}
): Svg {
  const { anchor = 'start', ...others } = style
  return element('text', { x, y, 'text-anchor': anchor, ...others }, escaped(text))
}

export function line(x1: number, y1: number, x2: number, y2: number, style: Attributes): Svg {
  return element('line', { x1, y1, x2, y2, ...style })
}

/** A whole picture, on white, so that it can be read on a dark page too; the title is its text. */
export function picture(
  title: string,
  width: number,
  height: number,
  ...content: readonly Svg[]
): Svg {
  const root = {
    xmlns: 'http://www.w3.org/2000/svg',
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    'font-family': 'system-ui, sans-serif',
    'font-size': 13,
    fill: '#222'
  }
  const background = element('rect', { width, height, fill: '#fff' })
  const name = element('title', {}, escaped(title))
  return `${element('svg', root, name, background, ...content)}\n`
}

function format(value: string | number): string {
  return typeof value === 'number' ? String(Number(value.toFixed(2))) : escaped(value)
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}
