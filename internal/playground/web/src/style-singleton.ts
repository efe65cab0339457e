import { useEffect } from 'react';

/**
 * Stands in for the package react-style-singleton, with which dialogs and menus lock the page's scrolling: it adds a
 * <style> element, which style-src 'self' refuses. A constructed style sheet needs no exception from the policy.
 */
export function styleSingleton() {
  return function Style({ styles }: { styles: string }) {
    useEffect(() => {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(styles);
      document.adoptedStyleSheets.push(sheet);
      return () => {
        document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
      };
    }, [styles]);
    return null;
  };
}
