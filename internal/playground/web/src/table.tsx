import type { ReactNode } from 'react';
import { bytes, percent } from './format';

interface TableProps {
  label: string;
  empty: string;
  /** The first column is text and names its row; the others are figures. */
  head: string[];
  rows: ReactNode[][];
}

/** A table that scrolls by itself where it is too wide, also by keyboard. */
export function Table({ label, empty, head, rows }: TableProps) {
  if (rows.length === 0) return <p>{empty}</p>;
  return (
    <div className="scroll" role="group" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {head.map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(([name, ...figures], row) => (
            <tr key={row}>
              <th scope="row">{name}</th>
              {figures.map((figure, column) => (
                <td key={column}>{figure}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** How full something is. Max 0 stands for no limit. */
export function Meter({ label, value, max, note }: { label: string; value: number; max: number; note: string }) {
  return (
    <div className="meter">
      <p>
        {label}: {bytes(value)}
        {max > 0 && ` of ${bytes(max)} (${percent(value, max)})`}
        {note && `, ${note}`}
      </p>
      {max > 0 && <progress aria-label={label} value={Math.min(value, max)} max={max} />}
    </div>
  );
}
