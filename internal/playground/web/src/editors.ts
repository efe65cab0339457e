import { ImagePreview } from '@graphiql/react';
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

/** Changes what GraphiQL's editors do, before there is one. */
export function adaptEditors(): void {
  // Tab leaves an editor, as it leaves any other field, or the keyboard would be caught in the first one.
  const { keyMap } = CodeMirror as unknown as { keyMap: KeyMaps };
  Object.assign(keyMap.sublime, { Tab: false, 'Shift-Tab': false }); // false leaves a key to the browser

  // Screen readers name each.
  CodeMirror.defineInitHook((editor) => {
    const mode = editor.getOption('mode') as string | { name: string };
    editor.setOption('screenReaderLabel', labels[typeof mode === 'string' ? mode : mode.name]);
  });

  // The mouse over a picture's address would load it from wherever it is.
  ImagePreview.shouldRender = () => false;
}
