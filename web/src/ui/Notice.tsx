/** One calm message in the middle of a page: finished, waiting, signed out, away. */
import type { ComponentChildren } from 'preact';
import { Icon, type IconName } from './Icon.tsx';

export function Notice(props: { icon: IconName; title: string; children?: ComponentChildren; live?: boolean }) {
  return (
    <section class="notice" role={props.live ? 'status' : undefined}>
      <span class="notice-icon">
        <Icon name={props.icon} size={28} />
      </span>
      <h1>{props.title}</h1>
      {props.children}
    </section>
  );
}
