import CodeMirror from 'codemirror';
import 'codemirror/keymap/sublime';

// Missing from the package's types.
type KeyMaps = Record<'sublime', Record<string, string | false>>;

const labels: Record<string, string> = {
  graphql: 'Operation',
  'graphql-variables': 'Variables',
  'graphql-results': 'Result',
  javascript: 'Headers',
};

/** What the editors lack for those who have no mouse or see no screen. */
export function makeEditorsAccessible(): void {
  // Tab leaves an editor, as it leaves any other field, or the focus would be caught in the first one.
  const { keyMap } = CodeMirror as unknown as { keyMap: KeyMaps };
  Object.assign(keyMap.sublime, { Tab: false, 'Shift-Tab': false }); // false leaves a key to the browser

  CodeMirror.defineInitHook((editor) => {
    const mode = editor.getOption('mode') as string | { name: string };
    editor.setOption('screenReaderLabel', labels[typeof mode === 'string' ? mode : mode.name]);
  });
}
