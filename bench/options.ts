import { InvalidArgumentError, Option } from 'commander'
import { parseSize } from './measure.ts'

/** A whole number from 1. */
export function count(text: string): number {
  return numberWhere(text, value => Number.isInteger(value) && value >= 1, 'a whole number from 1.')
}

/** Several, comma-separated. */
export function counts(text: string): number[] {
  return list(text).map(count)
}

export function natural(text: string): number {
  return numberWhere(text, value => Number.isInteger(value) && value >= 0, 'a whole number from 0.')
}

export function share(text: string): number {
  return numberWhere(text, value => value >= 0 && value < 1, 'a number from 0 to below 1.')
}

/** Bytes. */
export function size(text: string): number {
  const bytes = parseSize(text)
  if (bytes === undefined) throw new InvalidArgumentError('a size such as 512KiB, 64MiB or 1GiB.')
  return bytes
}

/** Bits per second. */
export function rate(text: string): number {
  const [, digits, unit] = /^([1-9][0-9]*)(mbit|gbit)$/.exec(text) ?? []
  if (digits === undefined) throw new InvalidArgumentError('a rate such as 200mbit or 1gbit.')
  return Number(digits) * (unit === 'gbit' ? 1e9 : 1e6)
}

export function rateOrNone(text: string): number | 'none' {
  return text === 'none' ? text : rate(text)
}

export function list(text: string): string[] {
  return text.split(',').filter(each => each !== '')
}

export function sizeOption(meaning: string, standard: string): Option {
  return new Option('--size <size>', `${meaning}, as 64MiB`)
    .argParser(size)
    .default(size(standard), standard)
}

export function runsOption(standard: number): Option {
  return new Option('--runs <count>', 'how often; figures are medians')
    .argParser(count)
    .default(standard)
}

export function dataOption(): Option {
  return new Option('--data <dir>', 'where data is kept, instead of tmpfs')
}

export function expectOption(): Option {
  const meaning = 'exit 1 when the last node stays below this efficiency'
  return new Option('--expect <efficiency>', meaning).argParser(share)
}

export function jsonOption(): Option {
  return new Option('--json <file>', 'write one JSON object to a file, - for standard output')
}

export function linkOption(standard: string): Option {
  return new Option(
    '--link <rate>',
    'of every node, each way, as 200mbit (needs root); none: loopback'
  )
    .argParser(rateOrNone)
    .default(rateOrNone(standard), standard)
}

function numberWhere(text: string, isValid: (value: number) => boolean, expected: string): number {
  const value = Number(text)
  if (text.trim() === '' || !isValid(value)) throw new InvalidArgumentError(expected)
  return value
}
