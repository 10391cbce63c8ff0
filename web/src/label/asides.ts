/** All of the labelling screen but the pictures and the answers, in one file to fetch. */
export { Rest } from './Rest.tsx';
export { Sheets } from './Sheets.tsx';
export { Toasts } from './Toasts.tsx';
