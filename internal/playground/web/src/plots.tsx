import { percent, plural } from './format';
import { total, type Sample } from './history';

const minutes = 10;
const width = 300;
const height = 72;
const step = 20_000; // what one point of a line stands for; the history has a moment in ten seconds

/** A small plot of each kind's hit rate, over the same ten minutes and from 0 to 100 %, and of how much was read. */
export function Plots({ samples, now }: { samples: Sample[]; now: number }) {
  const kinds = Map.groupBy(samples, ({ kind }) => kind);
  const busy = [...kinds].filter(([, samples]) => total(samples).reads > 0).sort(([a], [b]) => (a < b ? -1 : 1));
  if (busy.length === 0) return <p>Nothing has been read in the last 10 minutes.</p>;
  return (
    <>
      <p>
        Line: hit rate, 0 to 100 %; a gap where nothing was read. Columns: reads, against the busiest moment of the kind.
      </p>
      <div className="plots">
        {busy.map(([kind, samples]) => (
          <Plot key={kind} kind={kind} points={pointsOf(samples, now)} />
        ))}
      </div>
    </>
  );
}

type Point = ReturnType<typeof total>;

function pointsOf(samples: Sample[], now: number): Point[] {
  const points = Array.from({ length: (minutes * 60_000) / step }, (): Sample[] => []);
  const last = Math.floor(now / step); // not now itself, or each point would change whenever time goes on
  for (const sample of samples) points[points.length - 1 - last + Math.floor(sample.at / step)]?.push(sample);
  return points.map(total);
}

function Plot({ kind, points }: { kind: string; points: Point[] }) {
  const hits = points.reduce((sum, point) => sum + point.hits, 0);
  const reads = points.reduce((sum, point) => sum + point.reads, 0);
  const rate = percent(hits, reads);
  const most = Math.max(1, ...points.map((point) => point.reads));
  const column = width / points.length;
  return (
    <figure>
      <figcaption>
        <strong>{kind}</strong> <span>{rate}</span> <span>{plural(reads, 'read')}</span>
      </figcaption>
      <svg viewBox={`0 0 ${width} ${height}`} role="img" aria-label={`${kind}: hit rate ${rate} of ${plural(reads, 'read')} in 10 minutes`}>
        {points.map((point, i) => {
          const tall = (point.reads / most) * height;
          return <rect key={i} x={i * column} y={height - tall} width={column} height={tall} />;
        })}
        <path className="grid" d={`M0 1H${width}M0 ${height / 2}H${width}M0 ${height - 1}H${width}`} />
        <path className="line" d={lineOf(points, column)} />
      </svg>
      <p className="axis" aria-hidden="true">
        <span>10 min ago</span>
        <span>now</span>
      </p>
    </figure>
  );
}

// Each point is as wide as its column, so that one alone shows too.
function lineOf(points: Point[], column: number): string {
  let path = '';
  points.forEach(({ hits, reads }, i) => {
    if (reads === 0) return;
    const y = (1 + (1 - hits / reads) * (height - 2)).toFixed(1);
    path += `${points[i - 1]?.reads ? 'L' : 'M'}${i * column} ${y}H${(i + 1) * column}`;
  });
  return path;
}
