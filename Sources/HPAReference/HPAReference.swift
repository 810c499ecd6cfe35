// HPAReference
