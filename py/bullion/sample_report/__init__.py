"""An annual report of a company that does not exist, written as a PDF.

Owns its figures (they add up), its words and its layout; all three are drawn from one seed. Does not
read PDFs and knows nothing of questions: what a reader finds in the report is the reader's affair.
Every Chinese character is one of GB2312's first level, the ones that the embedded base knows.
"""
