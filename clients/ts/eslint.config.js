import {defineConfig} from 'eslint/config'
import tseslint from 'typescript-eslint'

export default defineConfig(
  {ignores: ['dist', 'docs', '**/node_modules']},
  {files: ['**/*.{ts,tsx}'], extends: [tseslint.configs.strict]},
  {
    files: ['**/*.{ts,tsx}'],
    rules: {
      eqeqeq: 'error',
      'prefer-const': ['error', {destructuring: 'all'}],
      // What a scenario has to ignore is named so.
      '@typescript-eslint/no-unused-vars': ['error', {varsIgnorePattern: '^_', argsIgnorePattern: '^_'}],
      // A default that does nothing is better than a question mark at every call.
      '@typescript-eslint/no-empty-function': 'off',
      '@typescript-eslint/no-dynamic-delete': 'off',
    },
  },
)
