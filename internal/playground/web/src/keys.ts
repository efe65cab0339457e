import CodeMirror from 'codemirror';
import 'codemirror/keymap/sublime';

// Missing from the package's types.
type KeyMaps = Record<'sublime', Record<string, string | false>>;

/** Lets Tab leave an editor, as it leaves any other field, or whoever has no mouse would be caught in the first one. */
export function releaseTab(): void {
  const { keyMap } = CodeMirror as unknown as { keyMap: KeyMaps };
  Object.assign(keyMap.sublime, { Tab: false, 'Shift-Tab': false }); // false leaves a key to the browser
}
